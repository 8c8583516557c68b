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
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// TLSFiles are the names of files in PEM that a client of a server with [WithTLS]
// needs.
type TLSFiles struct {
	// CA is the certificate of who signed the server's.
	CA string
	// Cert and Key are the client's own, without which it is not let in.
	Cert, Key string
}

// WithTLS makes the server speak TLS only, to clients that show a certificate. Its
// own is for 127.0.0.1 and redis.test, signed by an authority of the test's.
func WithTLS() RedisOption {
	return func(s *RedisServer) {
		s.t.Helper()
		files, err := writeTLSFiles(s.dir)
		if err != nil {
			s.t.Fatalf("redis: %v", err)
		}
		s.tls = &files
		s.config = append(s.config, "--tls-ca-cert-file", files.CA, "--tls-auth-clients", "yes",
			"--tls-cert-file", filepath.Join(s.dir, "server.pem"), "--tls-key-file", filepath.Join(s.dir, "server-key.pem"))
	}
}

// TLSFiles returns what a client needs; nothing without [WithTLS].
func (s *RedisServer) TLSFiles() TLSFiles {
	if s.tls == nil {
		return TLSFiles{}
	}
	return *s.tls
}

// config is for this package's own connections to the server.
func (f TLSFiles) config() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate", f.CA)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// writeTLSFiles makes an authority, and with it the certificates of a server and of
// a client.
func writeTLSFiles(dir string) (TLSFiles, error) {
	ca, caKey, err := certificate("klinghook's test authority", nil, nil)
	if err != nil {
		return TLSFiles{}, err
	}
	files := TLSFiles{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "client.pem"), Key: filepath.Join(dir, "client-key.pem")}
	if err := writePEM(files.CA, "CERTIFICATE", ca.Raw); err != nil {
		return files, err
	}
	for _, name := range []string{"server", "client"} {
		cert, key, err := certificate(name, ca, caKey)
		if err != nil {
			return files, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return files, err
		}
		err = errors.Join(
			writePEM(filepath.Join(dir, name+".pem"), "CERTIFICATE", cert.Raw),
			writePEM(filepath.Join(dir, name+"-key.pem"), "PRIVATE KEY", der),
		)
		if err != nil {
			return files, err
		}
	}
	return files, nil
}

// certificate makes a key and a certificate for it, signed by ca, or by itself where
// that is nil.
func certificate(name string, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		// Clocks of machines differ; certificates that live for a day are enough.
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"redis.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true,
	}
	if ca == nil {
		ca, caKey = template, key
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
		template.ExtKeyUsage, template.DNSNames, template.IPAddresses = nil, nil, nil
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
