"""For courses: points for exercises, a student's progress, and networks made of students' own code.

    python -m minifer.testing score FOLDER        points for a folder of answers
    python -m minifer.testing status              what is solved, and what comes next

Exercises are files NAME.py beside tests test_NAME.py, in the order and with the points of points.json.
"""
