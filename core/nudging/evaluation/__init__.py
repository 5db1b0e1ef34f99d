"""Evaluate a pair: the paper's thirteen tasks (`nudging eval`), where its models disagree (`nudging analyze`), and the
setting that suits it (`nudging tune`).

The tasks, run by lm-evaluation-harness:

- plan.py: tasks, methods and thresholds, checked before a model is loaded
- run.py: run a plan on one pair and write a folder of results
- harness.py: the model `nudging` for lm-evaluation-harness; __main__.py: its command
- methods.py: how an answer is generated: nudged, by one model alone (single_model.py), or by a baseline (baselines.py)
- documents.py, local_data.py, tasks/: the questions, from the hub or from local files, and the task files
- scoring.py: is an answer right?; measures.py: the measures of the tasks
- judge.py: scores for open-ended answers, from a chat model
- answer_log.py: answers that are already known
- results.py, result_plots.py, transcripts.py: tables, pictures and pages

The analysis: disagreement.py, with disagreement_report.py for its tables and its picture.

The tuning: tune.py, with tune_data.py and tune_tasks.py for its questions, halving.py for the choice, and
tune_report.py for its tables and its picture.

For all: intervals.py (95% intervals), plots.py (figures without pyplot) and output.py (files that are written as a
whole).
"""
