package media

// make race leaves these out, for what they bring along: see RACE in the Makefile.
import (
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/gcsblob"   // gs://
)
