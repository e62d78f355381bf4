"""Functions in processes of their own, forked from one that has imported what they need, and what they share."""

import multiprocessing
import socket
import threading
from multiprocessing.connection import wait
from pathlib import Path

import keras

from keras_griffin.training.resuming.run_file import read_run


class Act(keras.callbacks.Callback):
    """Do something before a step."""

    def __init__(self, act, step):
        super().__init__()
        self.act, self.step, self.steps = act, step, 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.steps == self.step:
            self.act(self.model)
        self.steps += 1


def free_address():
    """An address at which processes may meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return "{}:{}".format(*free.getsockname())


def last_file(folder):
    """What a run has saved last."""
    return read_run(max(Path(folder).glob("*.safetensors")))


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
        # Those that have answered wait for this, and those that wait for one that has failed would do so for long.
        for process in processes:
            process.kill()
            process.join()
    return [answers[receiver] for receiver in receivers]


def send(sender, function, arguments):
    """Answer, and wait to be killed: a process that leaves may end what another still waits for."""
    sender.send(function(*arguments))
    threading.Event().wait()
