#include "local-cluster/runner/web_socket.h"

#include "gtest/gtest.h"

namespace local_cluster {
namespace {

std::string Masked(unsigned first, std::string payload) {
  std::string frame(1, static_cast<char>(first));
  frame += static_cast<char>(0x80U | payload.size());
  const std::string mask = "abcd";
  for (size_t i = 0; i < payload.size(); ++i)
    payload[i] = static_cast<char>(payload[i] ^ mask[i % 4]);
  return frame + mask + payload;
}

TEST(WebSocketTest, AcceptIsThatOfTheSpecification) {
  EXPECT_EQ(WebSocketAccept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(WebSocketTest, MessagesArriveWholeHoweverTheyAreCut) {
  const std::string bytes =
      Masked(0x82, "one") + Masked(0x02, "tw") + Masked(0x89, "ping") + Masked(0x80, "o");
  WebSocketReader reader;
  std::vector<WebSocketMessage> messages;
  for (const char byte : bytes) ASSERT_TRUE(reader.Feed(std::string(1, byte), messages).ok());
  ASSERT_EQ(messages.size(), 3U);
  EXPECT_EQ(messages[0].payload, "one");
  EXPECT_EQ(messages[1].opcode, WebSocketOpcode::kPing);
  EXPECT_EQ(messages[2].payload, "two");
}

TEST(WebSocketTest, BrokenFramesAreRefused) {
  std::vector<WebSocketMessage> messages;
  EXPECT_FALSE(WebSocketReader().Feed(std::string("\x82\x03one", 5), messages).ok()) << "unmasked";
  EXPECT_FALSE(WebSocketReader().Feed(Masked(0x80, "x"), messages).ok()) << "nothing to continue";
  EXPECT_FALSE(WebSocketReader().Feed(Masked(0x09, "x"), messages).ok()) << "ping in parts";
  EXPECT_EQ(WebSocketReader(4)
                .Feed(std::string("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"
                                  "abcd",
                                  14),
                      messages)
                .code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace local_cluster
