package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestEchoAnswersOnlySignedBodies(t *testing.T) {
	mac := hmac.New(sha256.New, []byte("secret"))
	mac.Write([]byte("body"))
	signature := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	for _, tt := range []struct {
		name, body, signature string
		want                  int
	}{
		{"signed", "body", signature, http.StatusOK},
		{"another body", "other", signature, http.StatusUnauthorized},
		{"unsigned", "body", "", http.StatusUnauthorized},
		{"not hexadecimal", "body", "sha256=zz", http.StatusUnauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEcho([]byte("secret"), func(context.Context, []byte) error { return nil })
			req := httptest.NewRequest(http.MethodPost, "/webhooks/klingai", bytes.NewBufferString(tt.body))
			req.Header.Set("X-Kling-Signature", tt.signature)
			answer := httptest.NewRecorder()
			e.ServeHTTP(answer, req)
			if answer.Code != tt.want {
				t.Errorf("answer is %d %s, want %d", answer.Code, answer.Body, tt.want)
			}
		})
	}
}

func TestDelayHoldsBytesBackWithoutLimitingTheirRate(t *testing.T) {
	const each = 40 * time.Millisecond
	near, middle := net.Pipe()
	far, echo := net.Pipe()
	go copyLate(middle, far, each)
	go copyLate(far, middle, each)
	go func() { _, _ = io.Copy(echo, echo) }() // until the pipes close
	defer near.Close()

	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB: 64 chunks each way
	began := time.Now()
	go func() { _, _ = near.Write(sent) }() // missing bytes are found below
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(near, got[:1]); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 2*each {
		t.Errorf("the first byte came back after %s, want at least %s", took, 2*each)
	}
	if _, err := io.ReadFull(near, got[1:]); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 64*each {
		t.Errorf("4 MiB took %s: each chunk waited for the one before", took)
	}
	if !bytes.Equal(got, sent) {
		t.Error("the bytes that came back are not those sent")
	}
}
