package main

import (
	"testing"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/simulate"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/testenv"
)

func TestEveryProtocolHasItsSecretSetting(t *testing.T) {
	files := make(map[string]string)
	for _, p := range source.Protocols() {
		s := config.Lookup(p.SecretSetting)
		if s.Secret != config.SecretStrong && s.Secret != config.SecretKey {
			t.Errorf("%s is the secret of protocol %s, and config would show it", s.Name, p.Name)
		}
		for _, role := range []config.Role{config.Ingest, config.Dev, config.Client} {
			if !s.UsedBy(role) {
				t.Errorf("%s is not a setting of the role %s", s.Name, role)
			}
			cfg, err := config.Load(role, []string{s.Name + "=whsec_MDEyMzQ1Njc4OWFiY2RlZg=="}, nil, nil)
			testenv.NoError(t, err)
			if got := cfg.Secrets(s.Name); len(got) != 1 {
				t.Errorf("role %s has %d secrets in %s, want 1", role, len(got), s.Name)
			}
		}
		file := secretFile("data", p.SecretSetting)
		if other, taken := files[file]; taken {
			t.Errorf("dev would keep the secrets of %s and %s both in %s", other, p.Name, file)
		}
		files[file] = p.Name
	}
}

func TestEveryProtocolVerifiesDeliveriesOfSend(t *testing.T) {
	sent := make(map[string]bool)
	for _, name := range sendProtocols() {
		t.Run(name, func(t *testing.T) {
			protocol := simulate.CallbackFormat(name)
			p := protocolNamed(protocol)
			sent[p.Name] = true
			secret, err := keptSecret(secretFile(t.TempDir(), p.SecretSetting))
			testenv.NoError(t, err)
			src, err := p.New([]string{secret})
			testenv.NoError(t, err)
			o := sendOptions{lifecycle: true, count: 1, jobID: "vid_1", videoURL: "https://cdn.example/v.mp4", thumbnailURL: "https://cdn.example/t.jpg"}
			for _, d := range o.plan()[0] {
				body, err := d.Body(protocol)
				testenv.NoError(t, err)
				header, err := protocol.Sign(secret, d.id, d.At, body)
				testenv.NoError(t, err)
				if _, err := src.Verify(header, body, d.At); err != nil {
					t.Errorf("%s: %v", d.Event, err)
				}
				got, err := src.Identify(header, body)
				if err != nil || got.Type != d.Event || got.JobID != "vid_1" {
					t.Errorf("%s was read as %+v, %v", d.Event, got, err)
				}
			}
		})
	}
	for _, p := range source.Protocols() {
		if !sent[p.Name] {
			t.Errorf("send does not know %s", p.Name)
		}
	}
}
