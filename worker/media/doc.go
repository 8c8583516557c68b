// Package media brings the files of a job into a bucket. It owns the download
// ([Fetcher]), which links may be followed at all (the guard, in guard.go), what
// counts as a video or an image (sniff.go), and where the bytes end up
// ([Bucket]). It knows no queue, no store and no environment.
//
// # Which links are followed
//
// A link comes from outside, so it is trusted with nothing. It must be https,
// without user information, and lead to a public address. Addresses are judged
// on the socket that is about to be connected, so neither a redirect nor a name
// that resolves differently the second time gets past. Every range that the IANA
// registries of special-purpose addresses list is refused; of IPv6 only
// 2000::/3 remains, and NAT64 of a public IPv4 address. Proxies named by the
// environment are not used: they would connect in our place.
//
// [Config].Allow names the exceptions, each a host:port. Such a host:port may be
// plain http and may resolve to any address; another port of the same host may
// not. It can be reached by redirect as well as directly: a CDN inside is often
// entered that way, and whoever controls a link could name it anyway. So allow
// only hosts and ports that serve media, and nothing that acts on a GET.
//
// # What becomes an object
//
// A file is streamed into the bucket and appears under its name only when it is
// whole, and once the caller agrees ([Request].Publish). When the connection
// drops, stalls or all but stalls, the rest is asked for with Range and If-Range;
// a file without a validator, or that changed, is begun again. A body that is
// shorter or longer than was declared never becomes an object. Where nothing marks
// a body's end but the end of the connection, as in HTTP/1.0, a cut looks like an
// end; such a file is taken once a second request confirms it.
//
// # Buckets
//
// A bucket is a URL of the Go CDK (gocloud.dev/blob), whose parameters pass
// through; credentials come from each cloud's usual places, never from the URL:
//
//	file:///var/lib/klinghook/media
//	s3://bucket?region=eu-central-1
//	s3://bucket?endpoint=https://minio.example:9000&region=us-east-1&use_path_style=true
//	gs://bucket
//	azblob://container?storage_account=account
//
// Any of them takes prefix=some/folder/ to stay within a folder of the bucket.
// S3-compatible stores that do not know AWS's newer checksums need
// request_checksum_calculation=when_required besides.
//
// A file bucket is made with create_dir=1 and metadata=skip (no .attrs file
// beside each video) unless its URL says otherwise. Temporary files always lie
// beside the object, as <object>.<hex>.tmp, so that publishing is a rename within
// one file system. A download holds a lock on its own; what a killed process leaves
// is nobody's, and the next attempt at the same object, or the next process that
// starts, removes it (after 24 hours where the file system knows no locks). The
// file and the directories down to it are synced before a download is reported as
// done.
//
// An upload to a cloud that is abandoned leaves nothing visible, but S3 keeps
// the parts of a multipart upload until a lifecycle rule
// (AbortIncompleteMultipartUpload) drops them: set one.
package media
