"""pymemcache over TLS: tls.py HOST PORT CAFILE KEY. Prints what it stored and read back."""
import ssl
import sys

from pymemcache.client.base import Client

host, port, ca, key = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
context = ssl.create_default_context(cafile=ca)
client = Client((host, port), tls_context=context, connect_timeout=20, timeout=20)
client.set(key, b"over TLS" * 1000, expire=600, noreply=False)
print(client.get(key) == b"over TLS" * 1000, client.delete(key, noreply=False), client.get(key))
