package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// maxKept is how much of an answer is kept, in bytes.
	maxKept = 1 << 10
	// maxDrain is how much more of it is read, so that its connection can be used again.
	maxDrain = 4 << 10
)

// forward posts messages as signed JSON to one endpoint.
type forward struct {
	url    string
	host   string
	signer *standardwebhooks.Webhook
	client *http.Client
}

// newSigner refuses the empty key, which the library would accept.
func newSigner(secret string) (*standardwebhooks.Webhook, error) {
	const fix = `; make one with: echo "whsec_$(openssl rand -base64 32)"`
	if strings.TrimPrefix(secret, "whsec_") == "" {
		return nil, errors.New("is needed to sign forwards" + fix)
	}
	signer, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		// The library's error shows characters of the secret.
		return nil, errors.New(`is not "whsec_" and base64` + fix)
	}
	return signer, nil
}

func newForward(rawURL string, signer *standardwebhooks.Webhook) (*forward, error) {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return nil, errors.New("cannot be read as a URL; write it as https://example.com/path, special characters percent-encoded")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, errors.New("is not an absolute http or https URL; write it as https://example.com/path")
	}
	return &forward{
		url:    u.String(),
		host:   strings.ToLower(u.Hostname()),
		signer: signer,
		client: &http.Client{
			Transport: &http.Transport{
				DialContext:         (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext,
				ForceAttemptHTTP2:   true,
				MaxIdleConnsPerHost: 4,
				IdleConnTimeout:     90 * time.Second,
			},
			// A redirect would send the signed body to a host that the operator did not choose.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func (f *forward) close() { f.client.CloseIdleConnections() }

func (f *forward) send(ctx context.Context, message Message) (Response, error) {
	req, err := f.request(ctx, message)
	if err != nil {
		return Response{}, err
	}
	res, err := f.client.Do(req)
	if err != nil {
		// url.Error shows the whole URL; its cause does not.
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		return Response{}, fmt.Errorf("post: %w", shortError{err})
	}
	kept, _ := io.ReadAll(io.LimitReader(res.Body, maxKept)) // the status alone decides
	_, _ = io.CopyN(io.Discard, res.Body, maxDrain)          // only for the connection
	_ = res.Body.Close()
	return Response{Status: res.StatusCode, Body: strings.ToValidUTF8(string(kept), "")}, answerError(res)
}

// shortError shortens an error that may quote the endpoint, such as a malformed redirect.
type shortError struct{ error }

func (e shortError) Error() string {
	return cut(oneLine(link.ReplaceAllStringFunc(e.error.Error(), cutToHost)))
}

func (e shortError) Unwrap() error { return e.error }

// request signs the message on every attempt, because receivers refuse old
// timestamps.
func (f *forward) request(ctx context.Context, message Message) (*http.Request, error) {
	if message.ID == "" {
		return nil, tasks.Permanent(errors.New("the message has no id to sign"))
	}
	body, err := message.body()
	if err != nil {
		return nil, err
	}
	// Dots separate the parts of the signed text, so receivers may refuse them in an id.
	id := strings.ReplaceAll(message.ID, ".", "-")
	at := time.Now()
	signature, err := f.signer.Sign(id, at, body)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(body))
	if err != nil {
		return nil, tasks.Permanent(errors.New("the URL cannot be requested"))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "klinghook")
	req.Header.Set(standardwebhooks.HeaderWebhookID, id)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return req, nil
}

// answerError returns the error for a status, or nil for success.
func answerError(res *http.Response) error {
	status := strings.TrimSpace(strconv.Itoa(res.StatusCode) + " " + http.StatusText(res.StatusCode))
	switch code := res.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		return fmt.Errorf("the endpoint answered %s: redirects are not followed; configure the URL that it leads to", status)
	case code == http.StatusGone:
		return tasks.Permanent(fmt.Errorf("the endpoint answered %s: it wants no more messages; remove its URL", status))
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		err := fmt.Errorf("the endpoint answered %s", status)
		if wait := tasks.ParseRetryAfter(res.Header.Get("Retry-After"), time.Now()); wait > 0 {
			return tasks.RetryAfter(err, wait)
		}
		return err
	default:
		return fmt.Errorf("the endpoint answered %s", status)
	}
}
