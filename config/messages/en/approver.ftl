# The question, its answers and its end, in a chat.
#
# Lines of a comment that begin with $ say what an argument can be; they are read by the check at start.

button-yes = It's me
button-no = Not me
