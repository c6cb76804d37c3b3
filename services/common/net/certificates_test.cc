#include "common/net/certificates.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace net {
namespace {

using ::testing::StartsWith;

TEST(CertificatesTest, AuthorityIssuesPairs) {
  const auto ca = MakeCa("test authority");
  ASSERT_TRUE(ca.ok()) << ca.status();
  const auto pair = Issue(*ca, {.common_name = "admin",
                                .organizations = {"system:masters", "others"},
                                .subject_alternative_names = {"localhost", "127.0.0.1", "::1"}});
  ASSERT_TRUE(pair.ok()) << pair.status();
  EXPECT_THAT(pair->certificate_pem, StartsWith("-----BEGIN CERTIFICATE-----\n"));
  EXPECT_THAT(pair->private_key_pem, StartsWith("-----BEGIN PRIVATE KEY-----\n"));
}

TEST(CertificatesTest, NamesCannotSmuggleOtherExtensions) {
  const auto ca = MakeCa("test authority");
  ASSERT_TRUE(ca.ok()) << ca.status();
  for (const char* name : {"a,DNS:evil", "", "a b", "URI:x"}) {
    const auto pair = Issue(*ca, {.common_name = "x", .subject_alternative_names = {name}});
    EXPECT_EQ(pair.status().code(), absl::StatusCode::kInvalidArgument) << name;
  }
}

TEST(CertificatesTest, WhatIsNoAuthorityIsRefused) {
  EXPECT_EQ(
      Issue({.certificate_pem = "x", .private_key_pem = "y"}, {.common_name = "z"}).status().code(),
      absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace net
