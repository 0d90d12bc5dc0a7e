"""`manage.py smoke`: does a message still get from one end to the other, and a task through each cluster?

canario.py    a message to nobody, through the real fila and worker to the null provider
clusters.py   a task through the real broker and each cluster
run.py        all of them at once, until a deadline, and what they left behind removed
report.py     for people and for scripts
"""
