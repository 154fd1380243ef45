"""The published study and what came of it here: printed numbers, the plan of runs, tables, figures and the report.

`minifer reproduce` (minifer/commands/reproduce.py) carries the plan out; everything here turns its results into text.

Source: Nouisser, Zouari & Kherallah, "Deep Learning Based Mobilenet and Multi-Head Attention Model for Facial
Expression Recognition", International Arab Journal of Information Technology 20(3A), 2023.
"""
