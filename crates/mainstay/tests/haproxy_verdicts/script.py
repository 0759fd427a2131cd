"""What a script that manages HAProxy with haproxyadmin sees and changes; the argument is a stats socket."""

import sys

from haproxyadmin.haproxy import HAProxy

haproxy = HAProxy(socket_file=sys.argv[1])
for frontend in haproxy.frontends():
    print(frontend.name, frontend.status, frontend.metric("scur"), frontend.maxconn, frontend.requests, frontend.iid)
for backend in haproxy.backends():
    print(backend.name, backend.status, backend.metric("act"), backend.requests, backend.iid)
    for server in sorted(backend.servers(), key=lambda server: server.name):
        print(server.name, server.status, server.weight, server.sid, server.requests, server.address, server.port)

server = haproxy.server("s2", backend="b")[0]
for state in "drain", "maint", "ready":
    print(state, server.setstate(state), server.status)
for weight in 0, "50%", 10:
    print(weight, server.setweight(weight), server.weight)
print(server.shutdown())

frontend = haproxy.frontend("g")
print(frontend.disable(), frontend.status, frontend.enable(), frontend.status)
print(frontend.setmaxconn(7), frontend.maxconn)
print(haproxy.setmaxconn(50), haproxy.maxconn)
print(haproxy.setratelimitconn(500), haproxy.ratelimitconn)
print(haproxy.setratelimitsess(600), haproxy.ratelimitsess)
print(haproxy.clearcounters(all=True), haproxy.requests)
print(len(haproxy.processids), len(haproxy.command("show servers state b")))
print(frontend.shutdown(), haproxy.frontend("g").status)
