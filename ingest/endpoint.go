package ingest

import (
	"fmt"

	"github.com/klinghook/klinghook/internal/source"
)

// Endpoints returns an endpoint for each protocol that has a secret. secrets
// returns those of the setting that it is given the name of; disabled are the
// protocols that have none and are not received.
func Endpoints(secrets func(setting string) []string) (enabled []Endpoint, disabled []source.Protocol, err error) {
	for _, p := range source.Protocols() {
		list := secrets(p.SecretSetting)
		if len(list) == 0 {
			disabled = append(disabled, p)
			continue
		}
		src, err := p.New(list)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", p.SecretSetting, err)
		}
		enabled = append(enabled, Endpoint{Protocol: p, Source: src})
	}
	unsigned := source.CallbackProtocol()
	tokens := secrets(unsigned.SecretSetting)
	if len(tokens) == 0 {
		return enabled, append(disabled, unsigned), nil
	}
	src, err := unsigned.New(nil)
	if err != nil {
		return nil, nil, err
	}
	return append(enabled, Endpoint{Protocol: unsigned, Source: src, Tokens: tokens}), disabled, nil
}
