"""Functions in processes of their own, forked from one that has imported what they need, which takes longest."""

import multiprocessing
from multiprocessing.connection import wait


def answers_of(function, *argument_lists):
    """What a function returns for each list of arguments; all run at the same time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.distribution.preloaded"])
    processes, receivers, answers = [], [], {}
    try:
        for arguments in argument_lists:
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=send, args=(sender, function, arguments))
            process.start()
            sender.close()
            processes.append(process)
            receivers.append(receiver)
        while len(answers) < len(receivers):
            # A process that fails closes its pipe, which raises an EOFError here.
            answers |= {ready: ready.recv() for ready in wait([each for each in receivers if each not in answers])}
    finally:
        # Those that wait for one that has failed would wait for long.
        for process in processes:
            process.kill()
            process.join()
    return [answers[receiver] for receiver in receivers]


def send(sender, function, arguments):
    sender.send(function(*arguments))
