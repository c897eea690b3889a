"""What the recipes share and no article is about.

| module | what |
|---|---|
| `command` | the one entry: options of the command line, Ctrl-C, errors in one line |
| `options` | options that mean the same everywhere, dataclasses to inherit from |
| `held_out` | training samples and held-out ones that share nothing |
| `pretrained` | the BERT of the options and its tokenizer |
| `schedules`, `buckets` | the two learning rates; the lengths that batches are padded to |
| `fitting` | Adam and one `fit`; many trainings from the same weights |
| `run` | one training in a directory, resumed after any interruption |
| `comparison`, `tables` | figures of methods and seeds, cell by cell; as text and drawn |
| `weights` | the best weights of every method, with what they are beside them |
| `prediction` | sorted by length, in batches, back in order |
| `json_lines`, `local_server` | results as files; a page in the browser |
| `seq2seq`, `few_shot` | what the Seq2Seq recipes, and those that fill in blanks, share |
"""
