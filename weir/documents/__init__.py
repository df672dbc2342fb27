"""Documents: from bytes to chunks, as pure functions.

    bytes -> parse.py -> formats/<format>.py -> sections -> chunks.py -> chunks -> context.py, windows.py

`cut.py` is the whole way in one call; `sandbox.py` is the same call in a child process with limits on memory and time.
"""
