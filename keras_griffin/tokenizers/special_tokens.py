"""The names of special tokens in vocabularies."""

START_OF_TURN = "<start_of_turn>"
END_OF_TURN = "<end_of_turn>"
#: Gemma's turn markers, around each turn of a conversation.
TURN_MARKS = (START_OF_TURN, END_OF_TURN)

END_OF_TEXT = "<|endoftext|>"

START_NAMES = ("<bos>", "<s>", "<|begin_of_text|>")
STOP_NAMES = ("<eos>", "</s>", END_OF_TEXT, "<|end_of_text|>", "<|eot_id|>", "<|im_end|>", END_OF_TURN)
PAD_NAMES = ("<pad>", "<|pad|>", "[PAD]")
