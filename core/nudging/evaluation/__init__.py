"""The paper's thirteen tasks on any pair, run by lm-evaluation-harness: `nudging eval`, or lm_eval's own command.

- run.py: tasks x methods x thresholds on one pair -> a folder that says how it went
- harness.py: the model `nudging` for lm-evaluation-harness
- methods.py: how an answer is made: nudged, by either model alone, or by an earlier method
- documents.py, tasks/: the questions, from the hub or from local files, and the task files that name them
- scoring.py: whether an answer is right; measures.py: the same as lm-evaluation-harness asks for it
- judge.py: open-ended answers, judged by a chat model
- ledger.py: what was answered already
- results.py, pictures.py, transcripts.py: what came out
"""
