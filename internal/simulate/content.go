package simulate

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
)

// videoHead begins a video: an ISO media file of unknown brand's boxes, so that
// what sniffs it finds a video. The last box has its length in 64 bits.
const videoHead = "\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42\x00\x00\x00\x01mdat"

// minVideo is the least size of a video, in bytes.
const minVideo = int64(len(videoHead)) + 8

// Video is made-up content that passes for an MP4 file and cannot be played: a
// valid head, and then noise. It is computed as it is read, so that a file of
// gigabytes costs no memory.
type Video struct {
	head   []byte
	block  cipher.Block
	size   int64
	offset int64
}

// NewVideo returns the video of a job's id under a random seed. Equal arguments
// give equal bytes. The size is in bytes and no less than 40.
func NewVideo(seed uint64, jobID string, size int64) *Video {
	key := sha256.Sum256(fmt.Appendf(nil, "%d/%s", seed, jobID))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key has the right length
	}
	size = max(size, minVideo)
	head := binary.BigEndian.AppendUint64([]byte(videoHead), uint64(size-minVideo+16))
	return &Video{head: head, block: block, size: size}
}

// Read is io.Reader's.
func (v *Video) Read(p []byte) (int, error) {
	if v.offset >= v.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), v.size-v.offset)]
	v.noise(p)
	if v.offset < int64(len(v.head)) {
		copy(p, v.head[v.offset:])
	}
	v.offset += int64(len(p))
	return len(p), nil
}

// noise fills p with what stands at the offset: a block cipher's counter stream,
// which can be entered anywhere.
func (v *Video) noise(p []byte) {
	var counter [aes.BlockSize]byte
	binary.BigEndian.PutUint64(counter[8:], uint64(v.offset/aes.BlockSize))
	stream := cipher.NewCTR(v.block, counter[:])
	var skipped [aes.BlockSize]byte
	stream.XORKeyStream(skipped[:], skipped[:v.offset%aes.BlockSize])
	clear(p)
	stream.XORKeyStream(p, p)
}

// Seek is io.Seeker's.
func (v *Video) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += v.offset
	case io.SeekEnd:
		offset += v.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	v.offset = offset
	return offset, nil
}

// thumbnail draws a small picture in a colour of the job's own.
func thumbnail(jobID string) ([]byte, error) {
	sum := sha256.Sum256([]byte(jobID))
	picture := image.NewRGBA(image.Rect(0, 0, 64, 36))
	for y := range 36 {
		for x := range 64 {
			picture.Set(x, y, color.RGBA{sum[0], uint8(4 * x), uint8(7 * y), 255})
		}
	}
	var encoded bytes.Buffer
	if err := jpeg.Encode(&encoded, picture, nil); err != nil {
		return nil, fmt.Errorf("draw thumbnail: %w", err)
	}
	return encoded.Bytes(), nil
}
