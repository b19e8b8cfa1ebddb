"""What `./course` and each of its commands say of themselves under --help. Standard library only."""

import os

CALL = "python course" if os.name == "nt" else "./course"
"""How one starts the launcher, for the lines that name a command to type."""

OVERVIEW = f"""Sixteen Weeks: deep learning, from a NumPy perceptron to a multimodal agent

  {CALL} list                what is here, what you have trained, what you have solved
  {CALL} train 1             train week 1; flags follow: {CALL} train 1 --help
  {CALL} eval 1              score the newest run of week 1
  {CALL} repeat 2 --seeds 5  the same training from several seeds: mean and spread
  {CALL} run 1 PROGRAM       run another program of the week; {CALL} run 1 says which there are
  {CALL} test [1]            the tests of all weeks, or of one

  {CALL} exercise 1          write the exercises of week 1 into exercises/week01
  {CALL} exercise 1 --diff   your solution beside the reference
  {CALL} check 1             test what you have written so far
  {CALL} train 1 --mine      train with your own code (eval, repeat and run take --mine too)

  {CALL} setup [1 2 | all]   only install what these weeks need
  {CALL} doctor              what is installed, what is missing, and what to do about it
  {CALL} help check          more about a command: so does {CALL} check --help

Every command installs what it needs into .venv the first time."""

USAGE = {
    "setup": f"""usage: {CALL} setup [WEEK … | all]

Installs what these weeks need into .venv, or what all weeks and the tests need, and runs nothing.
Every other command does this by itself the first time; this one also mends what is there already.

  {CALL} setup 1 2       weeks 1 and 2
  {CALL} setup           everything (several GB), say before a journey""",
    "train": f"""usage: {CALL} train WEEK [--mine] [flags of the week's train.py]

Trains the week's model, on data that ships with the course unless --data says otherwise. The result
is a new folder in runs/: settings, log, weights, pictures. Ctrl-C saves; --resume goes on.

  {CALL} train 2                   minutes on two CPU cores
  {CALL} train 2 --preset smoke    seconds: does it run here?
  {CALL} train 2 --mine            with your own code from exercises/week02 in it
  {CALL} train 2 --help            all flags of week 2""",
    "eval": f"""usage: {CALL} eval WEEK [--mine] [flags of the week's eval.py]

Scores a trained run on data that it has not seen: the week's newest, unless --run names another.

  {CALL} eval 2            the newest run of week 2
  {CALL} eval 2 --mine     with your own code from exercises/week02 in it
  {CALL} eval 2 --help     all flags of week 2""",
    "repeat": f"""usage: {CALL} repeat WEEK [--seeds N] [--mine] [flags of the week's train.py]

One result is an anecdote: the same training from several seeds, each scored; their mean and spread
stand beside the baselines'.

  {CALL} repeat 2 --seeds 5                   the week's default training, five times
  {CALL} repeat 2 --seeds 5 --preset smoke    seconds: does it run here?
  {CALL} repeat 2 --help                      all flags""",
    "run": f"""usage: {CALL} run WEEK PROGRAM [--mine] [flags of the program]

Runs a program of the week; without PROGRAM it says which there are.

  {CALL} run 2                    the programs of week 2
  {CALL} run 2 bench              one of them
  {CALL} run 2 bench --mine       with your own code from exercises/week02 in it
  {CALL} run 2 bench --help       its flags""",
    "test": f"""usage: {CALL} test [WEEK] [flags of pytest]

Runs the tests of all weeks, or those of one. `{CALL} list` shows how they ended.

  {CALL} test                          all of them: minutes
  {CALL} test 2 -x                     week 2, up to the first failure
  {CALL} test 2 -k conv                week 2, tests with "conv" in their name
  {CALL} test 2 -m exercise --mine exercises/week02
                                         what `{CALL} check 2` runs, with all that pytest says""",
    "list": f"""usage: {CALL} list

Shows the sixteen weeks: the best run made here against the week's target, how the tests ended, and
how many exercises you have solved.""",
    "doctor": f"""usage: {CALL} doctor

Shows what this machine has: Python, memory, cores and how busy they are, packages, the device for
training, disk, data. After an arrow (→) stands what to do about what is wrong; then it ends with 1.""",
    "exercise": f"""usage: {CALL} exercise WEEK [--diff]

Writes the week's exercises: copies of its files in exercises/, with the core cut out for you to
write. A file that is there already is yours, and is kept.

  {CALL} exercise 2           writes exercises/week02
  {CALL} exercise 2 --diff    yours (-) beside the reference (+), and which pieces are the same;
                                what you have not written yet is left out
  {CALL} check 2              tests what you have written""",
    "check": f"""usage: {CALL} check WEEK

Tests what you have written in exercises/, and prints a line per piece: passed, failed and why,
waiting for another piece, or not written yet. Most of the time goes into loading the libraries.

  {CALL} check 2
  {CALL} test 2 -m exercise --mine exercises/week02     the same tests, with all that pytest says
  {CALL} train 2 --mine                                 then train with your own code""",
    "help": f"""usage: {CALL} help [COMMAND]

Names all commands, or says more about one.""",
}
"""{command: its help}, in the order in which they are named."""
