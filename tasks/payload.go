package tasks

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Task is a unit of work as it is queued.
type Task struct {
	Kind Kind
	// ID is deterministic: enqueuing the same work twice gives the same ID, and
	// the second is recognised as a duplicate. It never contains a slash, which
	// the queue pages could not address.
	ID string
	// Payload is JSON, of the shape that the kind's Decode function reads.
	Payload []byte
	// Trace is the span that the task follows from, as [TraceOf] writes it; empty where
	// nothing is traced.
	Trace string
}

// MediaDownload is the payload of KindMediaDownload: which file of which job.
// The link is not in it: the worker reads the newest one from the store.
type MediaDownload struct {
	JobID string `json:"job_id"`
	// Name is the media's name within the job, such as "video" or "thumbnail".
	Name string `json:"name"`
}

// NotifySend is the payload of KindNotifySend: which notification of the store.
type NotifySend struct {
	NotificationID string `json:"notification_id"`
	// JobID is for people who look at the queue; the store decides.
	JobID string `json:"job_id,omitempty"`
}

// Rejection is a delivery that was refused, as a sample of many: for the person who
// wonders why nothing arrives. It is the payload of KindRejectionKeep.
type Rejection struct {
	// ID is random: each refusal is one of its own.
	ID string `json:"id"`
	// ReceivedAt is when the delivery arrived, in UTC.
	ReceivedAt time.Time `json:"received_at"`
	// Source names the protocol of the endpoint that refused it.
	Source string `json:"source"`
	// Reason is the outcome as the metrics name it, e.g. "invalid_signature".
	Reason string `json:"reason"`
	// Detail says more, in words.
	Detail string `json:"detail,omitempty"`
	// Peer is the address that it came from, host:port.
	Peer string `json:"peer"`
	// Headers are the request's, less what is secret.
	Headers map[string]string `json:"headers,omitempty"`
	// Body is how the body begins.
	Body []byte `json:"body,omitempty"`
}

// KeepRejection returns the task that keeps a refused delivery.
func KeepRejection(r Rejection) (Task, error) {
	return newTask(KindRejectionKeep, string(KindRejectionKeep)+":"+SafeID(r.ID), r)
}

// DecodeRejection reads the payload of KindRejectionKeep.
func DecodeRejection(payload []byte) (Rejection, error) {
	return decode[Rejection](KindRejectionKeep, payload)
}

// eventWire is an Event in JSON. A body that is valid UTF-8, as every JSON body
// should be, stays readable; any other travels in base64, unchanged.
type eventWire struct {
	ID         string            `json:"id"`
	Source     string            `json:"source"`
	Type       string            `json:"type"`
	JobID      string            `json:"job_id,omitempty"`
	ReceivedAt time.Time         `json:"received_at"`
	Secret     string            `json:"secret,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"`
	Body       string            `json:"body,omitempty"`
	BodyBase64 []byte            `json:"body_base64,omitempty"`
}

// RecordEvent returns the task that records an event. Its ID carries the
// event's idempotency key.
func RecordEvent(ev Event) (Task, error) {
	// Room for what stands around the body, and for its quotation marks.
	payload, err := appendEvent(make([]byte, 0, 384+len(ev.Body)+len(ev.Body)/8), ev)
	if err != nil {
		return Task{}, fmt.Errorf("encode %s payload: %w", KindEventRecord, err)
	}
	return Task{Kind: KindEventRecord, ID: recordPrefix + ev.ID, Payload: payload}, nil
}

// recordPrefix stands before the event's ID in the ID of a task that records it.
const recordPrefix = string(KindEventRecord) + ":"

// RecordedEvent returns the ID of the event that the task with this ID records; ok
// is false when the task is of another kind.
func RecordedEvent(taskID string) (eventID string, ok bool) {
	return strings.CutPrefix(taskID, recordPrefix)
}

// DecodeEvent reads the payload of KindEventRecord.
func DecodeEvent(payload []byte) (Event, error) {
	wire, ok := parseEvent(payload)
	if !ok {
		var err error
		if wire, err = decode[eventWire](KindEventRecord, payload); err != nil {
			return Event{}, err
		}
	}
	if wire.ID == "" || wire.Source == "" {
		return Event{}, Permanent(fmt.Errorf("decode %s payload: it has no id or no source", KindEventRecord))
	}
	ev := Event{
		ID: wire.ID, Source: wire.Source, Type: wire.Type, JobID: wire.JobID,
		ReceivedAt: wire.ReceivedAt, Secret: wire.Secret, Headers: wire.Headers,
		Body: []byte(wire.Body),
	}
	if len(wire.BodyBase64) > 0 {
		ev.Body = wire.BodyBase64
	}
	return ev, nil
}

// DownloadMedia returns the task that fetches a job's file from the given link.
// The link is part of the ID only, as a hash: a fresh link for a file whose old
// one was given up is new work.
func DownloadMedia(jobID, name, link string) (Task, error) {
	sum := sha256.Sum256([]byte(link))
	id := fmt.Sprintf("%s:%s:%s:%s", KindMediaDownload, SafeID(jobID), SafeID(name), hex.EncodeToString(sum[:4]))
	return newTask(KindMediaDownload, id, MediaDownload{JobID: jobID, Name: name})
}

// DecodeMediaDownload reads the payload of KindMediaDownload.
func DecodeMediaDownload(payload []byte) (MediaDownload, error) {
	return decode[MediaDownload](KindMediaDownload, payload)
}

// SendNotification returns the task that sends one notification.
func SendNotification(notificationID, jobID string) (Task, error) {
	id := fmt.Sprintf("%s:%s", KindNotifySend, SafeID(notificationID))
	return newTask(KindNotifySend, id, NotifySend{NotificationID: notificationID, JobID: jobID})
}

// DecodeNotifySend reads the payload of KindNotifySend.
func DecodeNotifySend(payload []byte) (NotifySend, error) {
	return decode[NotifySend](KindNotifySend, payload)
}

func newTask(kind Kind, id string, payload any) (Task, error) {
	var data bytes.Buffer
	enc := json.NewEncoder(&data)
	enc.SetEscapeHTML(false) // links stay readable in the queue pages, and short
	if err := enc.Encode(payload); err != nil {
		return Task{}, fmt.Errorf("encode %s payload: %w", kind, err)
	}
	return Task{Kind: kind, ID: id, Payload: bytes.TrimSuffix(data.Bytes(), []byte("\n"))}, nil
}

// decode reads a payload. What cannot be read now cannot be read later either.
func decode[T any](kind Kind, payload []byte) (T, error) {
	var v T
	if err := json.Unmarshal(payload, &v); err != nil {
		return v, Permanent(fmt.Errorf("decode %s payload: %w", kind, err))
	}
	return v, nil
}
