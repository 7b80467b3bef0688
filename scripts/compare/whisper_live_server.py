"""Starts WhisperLive as its own run_server.py does, which is not in the wheel: single-model mode, REST on demand.

    python whisper_live_server.py PORT MODEL [--rest-port PORT] [--repeats N]

`--repeats` sets the handshake option `same_output_threshold` for every client, as a client may do itself.
"""
import argparse

from whisper_live.server import TranscriptionServer

UNLIMITED_CLIENTS = 10_000
DAY = 86_400


class Server(TranscriptionServer):
    """WhisperLive's server, where what a client may ask for can be set for all of them."""

    repeats = None

    def initialize_client(self, websocket, options, *rest, **more):
        if self.repeats is not None:
            options["same_output_threshold"] = self.repeats
        return super().initialize_client(websocket, options, *rest, **more)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("model")
    parser.add_argument("--rest-port", type=int)
    parser.add_argument("--repeats", type=int)
    args = parser.parse_args()
    server = Server()
    server.repeats = args.repeats
    rest = {"enable_rest": True, "rest_port": args.rest_port} if args.rest_port else {}
    server.run("127.0.0.1", port=args.port, backend="faster_whisper", faster_whisper_custom_model_path=args.model,
               single_model=True, max_clients=UNLIMITED_CLIENTS, max_connection_time=DAY, **rest)


if __name__ == "__main__":
    main()
