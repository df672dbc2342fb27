"""How good an index version is: golden sets, the run of a set against a version, figures, and the gate.

    sets.py        golden sets on the topic `golden`, every version of each
    files.py       sets from and to files: BEIR folders, CSV
    marking.py     a question of a set from a turn that somebody marked
    metrics.py     figures of one question (pure)
    statistics.py  intervals and tests over many (pure)
    asking.py      a question through the product's own retrieval and answer path, in a given version
    run.py         a set against versions, question by question; compare.py keeps the runs
    gate.py        whether one version may take another's place (pure)
    judge.py       a language model's opinion, and how far it agrees with people
    picture.py     a run as an SVG picture
"""
