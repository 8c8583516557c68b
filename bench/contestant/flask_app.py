"""A receiver as Kling's users begin with it: Flask checks the signature, writes two
lines of log, and keeps nothing."""

import hashlib
import hmac
import logging
import os

from flask import Flask, jsonify, request

logging.basicConfig(level=logging.INFO)
log = logging.getLogger("receiver")
secret = os.environ["KLINGAI_WEBHOOK_SECRET"].encode()
app = Flask(__name__)


@app.post("/webhooks/klingai")
def receive():
    want = hmac.new(secret, request.get_data(), hashlib.sha256).hexdigest()
    got = request.headers.get("X-Kling-Signature", "").replace("sha256=", "")
    if not hmac.compare_digest(want, got):
        return jsonify(error="Invalid signature"), 401
    event = request.get_json()
    log.info("Received webhook: %s", event["event"])
    log.info("Job: %s", event["data"]["job_id"])
    return jsonify(received=True)
