"""One question, and the shortest whole answer to it in each wire language, for tests of `gateway.models`.

`STOP` in CLAUDE, and `STATUS` and `WHY` in RESPONSES, are for the test to fill.
"""

from __future__ import annotations

from gateway.models import Conversation, TextBlock, UserTurn
from tests.worlds.eventstream import event_message

HELLO = Conversation((UserTurn((TextBlock("hello"),)),), system="Be terse.")
CHAT = (
    b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":" you"},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,'
    b'"prompt_tokens_details":{"cached_tokens":4}}}\n\ndata: [DONE]\n\n'
)
CLAUDE = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","model":"c","usage":{"input_tokens":5,'
    b'"cache_read_input_tokens":2}}}\n\nevent: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\nevent: content_block_delta\ndata: {"type":"content_block_delta",'
    b'"index":0,"delta":{"type":"text_delta","text":"Hi"}}\n\nevent: content_block_stop\ndata: '
    b'{"type":"content_block_stop","index":0}\n\nevent: message_delta\ndata: {"type":"message_delta","delta":'
    b'{"stop_reason":"STOP"},"usage":{"output_tokens":3}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
)
GEMINI = (
    b'data: {"candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}],'
    b'"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":1}}\n\n'
)
RESPONSES = (
    b'data: {"type":"response.output_text.delta","output_index":0,"delta":"Hi"}\n\n'
    b'data: {"type":"response.STATUS","response":{"id":"r","status":"STATUS",'
    b'"incomplete_details":{"reason":"WHY"}}}\n\n'
)
OLLAMA = (
    b'{"message":{"role":"assistant","content":"Hi"},"done":false}\n'
    b'{"message":{"content":""},"done":true,"done_reason":"stop"}\n'
)
CONVERSE = (
    event_message("messageStart", {"role": "assistant"})
    + event_message("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}})
    + event_message("messageStop", {"stopReason": "end_turn"})
    + event_message("metadata", {"usage": {"inputTokens": 4, "outputTokens": 1}})
)
