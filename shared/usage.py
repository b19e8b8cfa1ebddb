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
  {CALL} check 1 [3]         test what you have written so far, or the third piece of it
  {CALL} hint 1 3            the next of four hints for piece 3
  {CALL} bugs 1 [2]          the week's planted bugs; plant the second, and find it
  {CALL} curve 1             your newest run over the band of five seeds: is my curve right?
  {CALL} train 1 --mine      train with your own code (eval, repeat and run take --mine too)

  {CALL} report 1            the public update on week 1, with your own words and a text to post
  {CALL} space 14            its page as a Hugging Face Space: written, tried out here, pushed
  {CALL} portfolio           one page of all that you have done, to put on the web

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
    "train": f"""usage: {CALL} train WEEK [--mine [FOLDER]] [flags of the week's train.py]

Trains the week's model, on data that ships with the course unless --data says otherwise. The result
is a new folder in runs/: settings, log, weights, pictures. Ctrl-C saves; --resume goes on.

  {CALL} train 2                   minutes on two CPU cores
  {CALL} train 2 --preset smoke    seconds: does it run here?
  {CALL} train 2 --mine            with your own code from exercises/week02 in it
  {CALL} train 2 --mine exercises/week02-bug3
                                     with a planted bug in it
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
  {CALL} test 2 -k conv --mine exercises/week02
                                         likewise, on your own code""",
    "list": f"""usage: {CALL} list

Shows the sixteen weeks: the best run made here against the week's target, how the tests ended, and
how many exercises you have solved; and of which weeks there is a report.""",
    "doctor": f"""usage: {CALL} doctor [--issue]

Shows what this machine has: Python, memory, cores and how busy they are, packages, the device for
training, disk, data. After an arrow (→) stands what to do about what is wrong; then it ends with 1.

  {CALL} doctor
  {CALL} doctor --issue    only the versions, as a report to a library's maintainers wants them""",
    "exercise": f"""usage: {CALL} exercise WEEK [--diff]

Writes the week's exercises: copies of its files in exercises/, with the core cut out for you to
write. A file that is there already is yours, and is kept.

  {CALL} exercise 2           writes exercises/week02
  {CALL} exercise 2 --diff    yours (-) beside the reference (+), and which pieces are the same;
                                what you have not written yet is left out
  {CALL} check 2              tests what you have written""",
    "check": f"""usage: {CALL} check WEEK [PIECE | --bug BUG]

Tests what you have written in exercises/, and tells of each piece as it ends: passed, failed and
why, waiting for another piece, or not written yet. Most of the time goes into loading libraries.

  {CALL} check 2             all pieces of week 2
  {CALL} check 2 3           the third
  {CALL} check 2 --bug 1     whether you have found the first planted bug ({CALL} bugs 2)
  {CALL} hint 2 3            where you are stuck on the third
  {CALL} train 2 --mine      then train with your own code""",
    "hint": f"""usage: {CALL} hint WEEK PIECE

Tests a piece of your exercises, and gives the next of four hints: the shapes at the line that
fails; the smallest input that fails, with its numbers; the idea; the first line that differs.
`{CALL} list` says how many pieces were solved with hints. Nobody scolds.

  {CALL} hint 2 3            again for the next one""",
    "bugs": f"""usage: {CALL} bugs WEEK [BUG]

Real slips of the field, planted into the reference for you to find: by its curves, by the tests
(which name the symptom), by reading. Without BUG it lists them, unnamed until they are found.

  {CALL} bugs 2              what there is to find in week 2
  {CALL} bugs 2 3            plants the third in exercises/week02-bug3
  {CALL} train 2 --mine exercises/week02-bug3
                               what it does to a training
  {CALL} check 2 --bug 3     whether you have mended it; then, what it was and who had it before""",
    "curve": f"""usage: {CALL} curve WEEK [--run FOLDER]

Draws a run (the week's newest) over the band in which five seeds of the same training lie, and says
in a line whether yours is inside: below it, suddenly worse, or too good. The picture is in the run.

  {CALL} curve 2
  {CALL} curve 2 --run runs/week02/003-quick""",
    "report": f"""usage: {CALL} report WEEK [--run FOLDER] [--words FILE] [--picture FILE]
       {CALL} report --verify FILE [--data PATH]

Writes the public update on a week into reports/: the result beside its baselines and the band, the
picture, what you have solved and found, your own words, hashes of code and run, the command that
runs it again; and two texts to post, of at most 280 and 1,300 characters. You are asked for your
words once; they are kept in reports/weekNN/words.md, and never overwritten.
--verify trains again what a report tells of, in a folder of its own, and says whether it comes out
the same: every digit on the same machine, within the band of seeds elsewhere. It ends with 1 if
not.

  {CALL} report 2                           the newest finished training of week 2
  {CALL} report 2 --words mine.md           with your words from a file
  {CALL} report 2 --picture photo.png       with another picture
  {CALL} report --verify reports/week02/report.md""",
    "space": f"""usage: {CALL} space WEEK [--dry-run] [--push USER/NAME] [more flags]

Writes the folder of a Hugging Face Space with the page of a week from 9 to 16: its program, your
newest run, its networks and data, pinned requirements; and looks for secrets in it. --dry-run runs
it here as the hub would: in an environment of its own, as another user, and asks it a question.
--push makes the Space, with the token of `hf auth login` (or HF_TOKEN).

  {CALL} space 14                      writes runs/week14/space
  {CALL} space 14 --dry-run            and tries it out: minutes, most of them to install packages
  {CALL} space 14 --push ada/search    and puts it up; --update when it is there already
  {CALL} space 14 --help               all flags""",
    "portfolio": f"""usage: {CALL} portfolio [--name NAME] [--space N=URL …]

Writes reports/portfolio.html: one page, with everything in it, of what you have done so far. Put it
on any web page, or send it. What you say once is kept for the next time.

  {CALL} portfolio --name "Ada L."
  {CALL} portfolio --space 11=https://huggingface.co/spaces/ada/bot 12=https://ada-bot.hf.space
  {CALL} portfolio --space 11=              takes a link out again""",
    "help": f"""usage: {CALL} help [COMMAND]

Names all commands, or says more about one.""",
}
"""{command: its help}, in the order in which they are named."""
