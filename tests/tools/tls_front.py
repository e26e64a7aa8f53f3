#!/usr/bin/env python3
"""Puts TLS before a server on this machine: tls_front.py PORT prints its own address.

The certificate in tls/server.pem is for 127.0.0.1, signed by tls/ca.pem."""
import os, socket, ssl, sys, threading

def copy(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    finally:
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

def serve(client, context, port):
    try:
        client = context.wrap_socket(client, server_side=True)
    except (OSError, ssl.SSLError):
        return
    server = socket.create_connection(('127.0.0.1', port))
    threading.Thread(target=copy, args=(server, client), daemon=True).start()
    copy(client, server)

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'tls')
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.path.join(here, 'server.pem'), os.path.join(here, 'server.key'))
listener = socket.create_server(('127.0.0.1', 0))
print(f'https://127.0.0.1:{listener.getsockname()[1]}', flush=True)
while True:
    client, _ = listener.accept()
    threading.Thread(target=serve, args=(client, context, int(sys.argv[1])), daemon=True).start()
