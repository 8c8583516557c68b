// Package media downloads the files of a job into a bucket. It has the download
// ([Fetcher]), the guard that decides which links may be followed (guard.go), what counts
// as a video, an image or audio (kind.go, sniff.go), and where the bytes go ([Bucket]). It
// does not use the queue, the store or the environment.
//
// # Which links are followed
//
// A link comes from outside and is not trusted. It is parsed as browsers parse it. It
// must be https, without user information, and lead to a public address. Addresses are
// checked on the socket just before it connects, so neither a redirect nor a name that
// resolves differently the second time gets past. Every range in the IANA registries of
// special-purpose addresses is refused; in IPv6 only 2000::/3 and NAT64 of a public IPv4
// address are allowed. Proxies from the environment are not used: they would connect
// to addresses that are not checked.
//
// [Config].Allow lists the exceptions, each a host:port. Such a host:port may be plain
// http and may resolve to any address; another port of the same host may not. It can be
// reached by redirect as well as directly. So allow only hosts and ports that serve media
// and do nothing else on a GET. [Config].Deny and [Config].Only narrow down what else may
// be reached.
//
// # What becomes an object
//
// A file is streamed into the bucket and appears under its name only when it is complete
// and published ([File.Publish]). When the connection drops, stalls or trickles, the rest
// is requested with Range and If-Range; a file without a validator, or that changed, is
// started again. An object is always the exact file: data without the declared length,
// range or checksum never becomes one. If only the end of the connection marks the end of
// the body, as in HTTP/1.0, the file is accepted once a second request confirms it.
//
// # Objects
//
// A file's content decides its type, and the type its extension: "<job>/thumbnail.png". A
// video may have [Config].MaxSize bytes, an image 256 MiB and audio 1 GiB.
//
// # Buckets
//
// A bucket is a URL of the Go CDK (gocloud.dev/blob), whose parameters pass through;
// credentials come from each cloud's usual places, never from the URL:
//
//	file:///var/lib/klinghook/media
//	s3://bucket?region=eu-central-1
//	s3://bucket?endpoint=https://minio.example:9000&region=us-east-1&use_path_style=true
//	gs://bucket
//	azblob://container?storage_account=account
//
// Any of them takes prefix=some/folder/ to stay within a folder of the bucket.
// S3-compatible stores that do not know AWS's newer checksums also need
// request_checksum_calculation=when_required.
//
// A file bucket is created with create_dir=1 and metadata=skip (no .attrs file beside each
// video) unless its URL says otherwise. Temporary files are beside the object, as
// <object>.<hex>.tmp, so that publishing is a rename within one file system. Those of
// killed processes are removed after an hour. The file and its folders are synced before
// it counts as published.
//
// An abandoned upload to a cloud leaves nothing visible, but S3 keeps the parts of a
// multipart upload until a lifecycle rule (AbortIncompleteMultipartUpload) deletes them:
// set one.
package media
