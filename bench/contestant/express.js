// A receiver as Kling's users begin with it: Express checks the signature, writes
// two lines of log, and keeps nothing.
'use strict';

const crypto = require('crypto');
const express = require('express');

const secret = process.env.KLINGAI_WEBHOOK_SECRET;
const app = express();

app.use(express.json({ limit: '1mb', verify: (req, _res, raw) => { req.raw = raw; } }));

function signed(header, raw) {
  const want = Buffer.from(crypto.createHmac('sha256', secret).update(raw).digest('hex'));
  const got = Buffer.from(String(header || '').replace('sha256=', ''));
  return got.length === want.length && crypto.timingSafeEqual(got, want);
}

app.post('/webhooks/klingai', (req, res) => {
  if (!signed(req.get('X-Kling-Signature'), req.raw)) {
    res.status(401).json({ error: 'Invalid signature' });
    return;
  }
  const { event, data } = req.body;
  console.log(`Received webhook: ${event}`);
  console.log(`Job: ${data.job_id}`);
  res.json({ received: true });
});

app.listen(Number(process.env.PORT), '127.0.0.1');
