"""Sends a mail for each line of its input over one connection, and then waits for its end."""

import hashlib
import json
import platform
import smtplib
import ssl
import sys


def say(**what):
    print(json.dumps(what), flush=True)


port, certificate = int(sys.argv[1]), sys.argv[2]
client = smtplib.SMTP("127.0.0.1", port, timeout=100)
say(client=f"smtplib of Python {platform.python_version()}", greeting=client.ehlo()[0])
client.starttls(context=ssl.create_default_context(cafile=certificate))
say(tls=client.sock.version())
for number, size in enumerate(sys.stdin, start=1):
    body = (f"payment {number:08}\r\n" * int(size)).encode()
    client.sendmail("app@pay.example", ["bank@pay.example"], body)
    say(sent=len(body), sha256=hashlib.sha256(body).hexdigest(), noop=client.noop()[0])
    if number == 3:
        break
client.sock.suppress_ragged_eofs = False  # an end without TLS's own goodbye is none
try:
    say(end=repr(client.sock.recv(1)))
except OSError as error:
    say(end=repr(error))
