"""Asks a question over WebSocket and prints the answer as it streams: python examples/chat.py "How long is ...?"

Needs `aiohttp` and a token in WEIR_TOKEN (`weir token --user reader`).
"""

import asyncio
import os
import sys
import uuid

import aiohttp


async def main(question: str) -> None:
    url = os.environ.get("WEIR_URL", "http://127.0.0.1:18400") + "/v1/chat"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=("weir.v1",)) as socket:
        await socket.send_json({"type": "hello", "token": os.environ["WEIR_TOKEN"]})
        await socket.send_json({"type": "ask", "request_id": str(uuid.uuid4()), "workspace": "sample",
                                "question": question})
        async for message in socket:
            match (frame := message.json())["type"]:
                case "delta":
                    print(frame["text"], end="", flush=True)
                case "done":
                    cited = sorted({c["source"] for c in frame["citations"]})
                    print("\n", *(f"[{s['number']}] {s['title']}\n" for s in frame["sources"] if s["number"] in cited))
                    return
                case "error":
                    sys.exit(f"{frame['code']}: {frame['message']}")


asyncio.run(main(" ".join(sys.argv[1:])))
