"""The officer's monthly report: `gather` reads, `model` and `summary` count, `document` says it in a language, and
one writer a format prints it. Every figure stands on rows of the CSV, a row for each line (`columns`).
"""
