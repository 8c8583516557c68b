package testenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// TLSFiles are PEM files for a client of a server with [WithTLS]: the authority's
// certificate, and the client's own, which the server requires.
type TLSFiles struct{ CA, Cert, Key string }

// tlsFiles are the files, and the configuration of this package's own client.
type tlsFiles struct {
	TLSFiles
	config *tls.Config
}

// WithTLS makes the server accept only TLS, from clients with a certificate. The server's
// certificate is for 127.0.0.1 and redis.test.
func WithTLS() RedisOption {
	return func(s *RedisServer) {
		s.t.Helper()
		files, err := writeTLSFiles(s.dir)
		s.must(err)
		s.tls = files
		s.config = append(s.config, "--tls-auth-clients", "yes",
			"--tls-ca-cert-file", files.CA, "--tls-cert-file", files.Cert, "--tls-key-file", files.Key)
	}
}

// TLSFiles returns the files for a client of a server with [WithTLS].
func (s *RedisServer) TLSFiles() TLSFiles { return s.tls.TLSFiles }

// writeTLSFiles writes an authority and a certificate from it, for server and client.
func writeTLSFiles(dir string) (*tlsFiles, error) {
	at := func(name string) string { return filepath.Join(dir, name) }
	files := &tlsFiles{TLSFiles: TLSFiles{CA: at("ca.pem"), Cert: at("cert.pem"), Key: at("key.pem")}}
	authority := certificate("authority", 1)
	authority.IsCA, authority.KeyUsage = true, x509.KeyUsageCertSign
	peer := certificate("peer", 2)
	peer.KeyUsage = x509.KeyUsageDigitalSignature
	peer.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	peer.DNSNames, peer.IPAddresses = []string{"redis.test"}, []net.IP{net.IPv4(127, 0, 0, 1)}

	authorityKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	peerKey, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	authorityDER, err1 := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	peerDER, err2 := x509.CreateCertificate(rand.Reader, peer, authority, &peerKey.PublicKey, authorityKey)
	keyDER, err3 := x509.MarshalPKCS8PrivateKey(peerKey)
	err := errors.Join(err1, err2, err3,
		writePEM(files.CA, "CERTIFICATE", authorityDER), writePEM(files.Cert, "CERTIFICATE", peerDER), writePEM(files.Key, "PRIVATE KEY", keyDER))
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(authorityDER)
	if err != nil {
		return nil, err
	}
	files.config = &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	files.config.RootCAs.AddCert(root)
	return files, nil
}

// certificate returns a template that is valid for a day.
func certificate(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
