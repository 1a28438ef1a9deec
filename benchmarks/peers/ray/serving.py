"""Ray Serve: one replica holds all nets, @serve.batch puts requests together; a driver feeds it from the topic. feed → *serving*."""

from __future__ import annotations

import feed
import nets
import peer
import ray
from ray import serve


@serve.deployment(num_replicas=1, max_ongoing_requests=2000, ray_actor_options={"num_cpus": 0.5})
class Worker:
    @serve.batch(max_batch_size=256, batch_wait_timeout_s=0.002, max_concurrent_batches=1)
    async def __call__(self, asked: list) -> list[float]:
        return nets.answers(asked)


def main() -> None:
    stop = peer.Stop()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False, object_store_memory=200_000_000)
    handle = serve.run(Worker.bind(), name="nets", route_prefix=None)

    def ask(rows: list) -> list[float]:
        return [response.result() for response in [handle.remote(row) for row in rows]]

    feed.run(ask, stop)
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
