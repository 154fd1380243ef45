"""`minifer demo`: a page in the browser on which a class sees faces found, and what the network does with them.

viewer      what the page asks for, as plain functions: faces, feature maps, attention, saliency, cost
times       how long each layer takes, and the ordinary convolution in the place of each separable block
worker      the one thread that computes
guard       who may ask, and how much
server      addresses of the page, and their answers
page/       the page itself: HTML, style and scripts, which load nothing from elsewhere
"""
