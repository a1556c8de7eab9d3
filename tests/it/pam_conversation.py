"""Plays the application of a PAM conversation: answers each prompt with the next line of standard input.

    pam_conversation.py CONFDIR SERVICE USER

Prints a JSON object for each message of the modules, and one with the result at the end. pamtester would need a file in
/etc/pam.d; libpam takes another directory from pam_start_confdir alone.
"""

import ctypes
import json
import sys

PROMPT_ECHO_OFF, PROMPT_ECHO_ON = 1, 2


class Message(ctypes.Structure):
    _fields_ = [("style", ctypes.c_int), ("text", ctypes.c_char_p)]


class Response(ctypes.Structure):
    _fields_ = [("text", ctypes.c_void_p), ("retcode", ctypes.c_int)]


Converse = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(Message)),
    ctypes.POINTER(ctypes.POINTER(Response)),
    ctypes.c_void_p,
)


class Conversation(ctypes.Structure):
    _fields_ = [("converse", Converse), ("data", ctypes.c_void_p)]


libc = ctypes.CDLL("libc.so.6")
libc.calloc.restype = ctypes.c_void_p
libc.strdup.restype = ctypes.c_void_p
libpam = ctypes.CDLL("libpam.so.0")
libpam.pam_strerror.restype = ctypes.c_char_p


@Converse
def converse(count, messages, responses, _data):
    # libpam frees what it gets.
    answers = ctypes.cast(libc.calloc(count, ctypes.sizeof(Response)), ctypes.POINTER(Response))
    for nth in range(count):
        message = messages[nth].contents
        asked = message.style in (PROMPT_ECHO_OFF, PROMPT_ECHO_ON)
        print(json.dumps({"text": message.text.decode(), "asked": asked}), flush=True)
        if asked:
            line = sys.stdin.readline()
            if not line:
                return 19  # PAM_CONV_ERR
            answers[nth].text = libc.strdup(line.rstrip("\n").encode())
    responses[0] = answers
    return 0


confdir, service, user = (argument.encode() for argument in sys.argv[1:])
handle = ctypes.c_void_p()
conversation = Conversation(converse, None)
status = libpam.pam_start_confdir(service, user, ctypes.byref(conversation), confdir, ctypes.byref(handle))
if status == 0:
    status = libpam.pam_authenticate(handle, 0)
print(json.dumps({"status": status, "meaning": libpam.pam_strerror(handle, status).decode()}))
