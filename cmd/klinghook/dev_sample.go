package main

import (
	"context"
	"errors"
	"io"
	"net/url"

	"github.com/klinghook/klinghook/internal/simulate"
)

// sendSample sends dev the events of one job, as "klinghook send --lifecycle" does.
func (d *dev) sendSample(ctx context.Context) error {
	webhooks := d.webhooks.Load()
	if webhooks == nil {
		return errors.New("dev is not listening yet")
	}
	protocol := protocolNamed(simulate.Seed)
	target, err := url.Parse(*webhooks + protocol.Path)
	if err != nil {
		return err
	}
	secret := ""
	if list := d.secrets.list(protocol.SecretSetting); len(list) > 0 && !d.skipVerify {
		secret = list[0]
	}
	sample := d.sample.url()
	job := sendOptions{lifecycle: true, count: 1, videos: 1, videoURL: sample + "/video.mp4", thumbnailURL: sample + "/thumbnail.jpg"}
	p := poster{out: io.Discard, target: target, protocol: simulate.Seed, secret: secret}
	return p.post(ctx, job.plan(), 0)
}
