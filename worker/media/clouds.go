//go:build !onecloud

package media

// make race leaves these out (-tags onecloud): to compile what they bring along takes
// minutes, and no test reaches it.
import (
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/gcsblob"   // gs://
)
