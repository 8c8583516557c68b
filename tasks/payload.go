package tasks

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// Task is a unit of queued work.
type Task struct {
	Kind Kind
	// ID is deterministic: the same work has the same ID, so that it is queued only once.
	// It never contains a slash, which the queue pages cannot address.
	ID string
	// Payload is JSON, as the kind's Decode function reads it.
	Payload []byte
	// Trace is the parent span, as [TraceOf] writes it; empty without tracing.
	Trace string
}

// MediaDownload is the payload of KindMediaDownload. It names a file of a job; the
// worker reads the newest link from the store.
type MediaDownload struct {
	Job JobKey
	// Name is the media's name within the job, such as "video" or "thumbnail".
	Name string
}

// mediaWire is a MediaDownload in JSON.
type mediaWire struct {
	JobKey
	Name string `json:"name"`
}

// NotifySend is the payload of KindNotifySend. It names a notification in the store.
type NotifySend struct {
	NotificationID string
	// Job is for people who read the queue; the worker uses the store's.
	Job JobKey
}

// notifyWire is a NotifySend in JSON.
type notifyWire struct {
	NotificationID string `json:"notification_id"`
	JobKey
}

// MaxRejectionBody is the largest Body of a Rejection, in bytes.
const MaxRejectionBody = 4 << 10

// Rejection is a refused delivery, kept as a sample to show an operator why nothing
// arrives. It is the payload of KindRejectionKeep.
type Rejection struct {
	// ID is random.
	ID string `json:"id"`
	// ReceivedAt is when the delivery arrived, in UTC.
	ReceivedAt time.Time `json:"received_at"`
	// Source names the protocol of the endpoint that refused it, or is "unknown".
	Source string `json:"source"`
	// Reason is the outcome as the metrics name it, e.g. "invalid_signature".
	Reason string `json:"reason"`
	// Detail explains the reason in words.
	Detail string `json:"detail,omitempty"`
	// Peer is the sender's address, host:port.
	Peer string `json:"peer"`
	// Headers are the request's, without secrets.
	Headers map[string]string `json:"headers,omitempty"`
	// Body is the start of the body.
	Body []byte `json:"body,omitempty"`
}

// KeepRejection returns the task that keeps a refused delivery.
func KeepRejection(rejection Rejection) (Task, error) {
	return newTask(KindRejectionKeep, string(KindRejectionKeep)+":"+SafeID(rejection.ID), rejection)
}

// DecodeRejection reads the payload of KindRejectionKeep.
func DecodeRejection(payload []byte) (Rejection, error) {
	return decode[Rejection](KindRejectionKeep, payload)
}

// eventWire is an Event in JSON. A body that is valid UTF-8 stays readable; any other
// is in base64.
type eventWire struct {
	ID     string `json:"id"`
	Source string `json:"source"`
	Type   string `json:"type"`
	JobKey
	ReceivedAt time.Time         `json:"received_at"`
	Secret     string            `json:"secret,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"`
	Body       string            `json:"body,omitempty"`
	BodyBase64 []byte            `json:"body_base64,omitempty"`
}

// RecordEvent returns the task that records an event. Its ID contains the event's
// idempotency key.
func RecordEvent(event Event) (Task, error) {
	wire := eventWire{
		ID: event.ID, Source: event.Source, Type: event.Type, JobKey: event.Job,
		ReceivedAt: event.ReceivedAt.UTC(), Secret: event.Secret, Headers: event.Headers,
	}
	if utf8.Valid(event.Body) {
		wire.Body = string(event.Body)
	} else {
		wire.BodyBase64 = event.Body
	}
	return newTask(KindEventRecord, string(KindEventRecord)+":"+event.ID, wire)
}

// DecodeEvent reads the payload of KindEventRecord.
func DecodeEvent(payload []byte) (Event, error) {
	wire, err := decode[eventWire](KindEventRecord, payload)
	if err != nil {
		return Event{}, err
	}
	if wire.ID == "" || wire.Source == "" || wire.Platform == "" {
		return Event{}, Permanent(fmt.Errorf("decode %s payload: id, source or platform is missing", KindEventRecord))
	}
	event := Event{
		ID: wire.ID, Source: wire.Source, Type: wire.Type, Job: wire.JobKey,
		ReceivedAt: wire.ReceivedAt, Secret: wire.Secret, Headers: wire.Headers, Body: []byte(wire.Body),
	}
	if len(wire.BodyBase64) > 0 {
		event.Body = wire.BodyBase64
	}
	return event, nil
}

// DownloadMedia returns the task that fetches a job's file. A hash of the link is part
// of the ID, so that a fresh link is new work.
func DownloadMedia(job JobKey, name, link string) (Task, error) {
	sum := sha256.Sum256([]byte(link))
	id := fmt.Sprintf("%s:%s:%s:%s", KindMediaDownload, job.SafeID(), SafeID(name), hex.EncodeToString(sum[:4]))
	return newTask(KindMediaDownload, id, mediaWire{job, name})
}

// MediaTasks returns bounds for the IDs of a job's downloads: first <= ID < end.
func MediaTasks(job JobKey) (first, end string) {
	prefix := string(KindMediaDownload) + ":" + job.SafeID() + ":"
	return prefix, prefix + "\U0010FFFF"
}

// DecodeMediaDownload reads the payload of KindMediaDownload.
func DecodeMediaDownload(payload []byte) (MediaDownload, error) {
	wire, err := decode[mediaWire](KindMediaDownload, payload)
	return MediaDownload{wire.JobKey, wire.Name}, err
}

// FindMedia returns the task that asks Kling again for a file that a completed job lacks.
func FindMedia(job JobKey) (Task, error) {
	return newTask(KindMediaFind, string(KindMediaFind)+":"+job.SafeID(), job)
}

// DecodeMediaFind reads the payload of KindMediaFind.
func DecodeMediaFind(payload []byte) (JobKey, error) {
	return decode[JobKey](KindMediaFind, payload)
}

// SendNotification returns the task that sends one notification.
func SendNotification(notificationID string, job JobKey) (Task, error) {
	id := fmt.Sprintf("%s:%s", KindNotifySend, SafeID(notificationID))
	return newTask(KindNotifySend, id, notifyWire{notificationID, job})
}

// DecodeNotifySend reads the payload of KindNotifySend.
func DecodeNotifySend(payload []byte) (NotifySend, error) {
	wire, err := decode[notifyWire](KindNotifySend, payload)
	return NotifySend{wire.NotificationID, wire.JobKey}, err
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

// decode reads a payload. Its errors are permanent: another attempt reads the same.
func decode[T any](kind Kind, payload []byte) (T, error) {
	var v T
	if err := json.Unmarshal(payload, &v); err != nil {
		return v, Permanent(fmt.Errorf("decode %s payload: %w", kind, err))
	}
	return v, nil
}
