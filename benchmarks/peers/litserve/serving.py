"""LitServe: one worker holds all nets and batches requests; a feeder sends it rows of the topic over HTTP. feed → *serving*."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import aiohttp
import feed
import litserve
import nets
import peer

AT_ONCE = 256  # requests under way


class Nets(litserve.LitAPI):
    def setup(self, device: str) -> None: ...

    def decode_request(self, request: dict) -> tuple[int, list[float]]:
        return request["net"], request["x"]

    def batch(self, inputs: list) -> list:
        return inputs

    def predict(self, asked: list) -> list[float]:
        return nets.answers(asked)

    def unbatch(self, output: list[float]) -> list[float]:
        return output

    def encode_response(self, output: float) -> dict:
        return {"answer": output}


def server(port: int) -> None:
    api = Nets(max_batch_size=AT_ONCE, batch_timeout=0.002)
    made = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    made.run(port=port, host="127.0.0.1", log_level="error", generate_client_file=False)


def main() -> None:
    stop = peer.Stop()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    child = subprocess.Popen([sys.executable, __file__, str(port)], start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    while not stop.now:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=1).read()
            break
        except OSError:
            time.sleep(0.1)
    loop = asyncio.new_event_loop()
    session = loop.run_until_complete(_session())

    async def one(row: tuple[int, list[float]]) -> float:
        async with session.post(f"{url}/predict", json={"net": row[0], "x": row[1]}) as answer:
            return (await answer.json())["answer"]  # type: ignore[no-any-return]

    async def all_of(rows: list) -> list[float]:
        return await asyncio.gather(*map(one, rows))

    feed.run(lambda rows: loop.run_until_complete(all_of(rows)), stop)
    loop.run_until_complete(session.close())
    os.killpg(child.pid, signal.SIGKILL)  # its workers outlive a server that is only asked to end
    child.wait(10)


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server(int(sys.argv[1]))
    else:
        main()
