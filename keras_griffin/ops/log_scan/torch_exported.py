"""In programs that PyTorch exports: one `scan`, with PyTorch's own sum of logarithms."""

import torch

from keras_griffin.ops.log_scan.log_numbers import LOG, scanned
from keras_griffin.ops.recurrence import torch_exported

supports = torch_exported.supports
# Its node can't hold the constants of `LOG.plus`.
log_scan = scanned(torch_exported.scan, LOG._replace(plus=lambda a, b: (torch.logaddexp(*a, *b),)))
