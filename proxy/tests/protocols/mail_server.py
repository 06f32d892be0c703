"""An SMTP server with STARTTLS: says each mail that it took as a line of JSON."""

import asyncio
import hashlib
import json
import ssl
import sys

import aiosmtpd
from aiosmtpd.smtp import SMTP


def say(**what):
    print(json.dumps(what), flush=True)


class Mails:
    """Takes every mail."""

    async def handle_DATA(self, server, session, envelope):
        digest = hashlib.sha256(envelope.content).hexdigest()
        say(mail=len(envelope.content), sha256=digest, tls=session.ssl is not None)
        return "250 OK"


async def main(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()
    make = lambda: SMTP(Mails(), tls_context=context, require_starttls=True)
    server = await loop.create_server(make, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    say(listening=port, version=f"aiosmtpd {aiosmtpd.__version__}")
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
