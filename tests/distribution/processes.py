"""Functions in processes of their own, forked from one that has imported what they need, which takes longest."""

import multiprocessing


def answers_of(function, *argument_lists):
    """What a function returns for each list of arguments; all run at the same time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.distribution.preloaded"])
    running, receivers = [], []
    for arguments in argument_lists:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=send, args=(sender, function, arguments), daemon=True)
        process.start()
        sender.close()
        running.append(process)
        receivers.append(receiver)
    # A process that fails closes its pipe, which raises an EOFError here.
    answers = [receiver.recv() for receiver in receivers]
    for process in running:
        process.join()
    return answers


def send(sender, function, arguments):
    sender.send(function(*arguments))
