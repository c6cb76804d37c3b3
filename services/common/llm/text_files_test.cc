#include "common/llm/text_files.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/llm/gguf_builder.h"

namespace llm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Strings(std::initializer_list<std::string_view> texts) {
  std::string bytes;
  for (const std::string_view text : texts) GgufBuilder::AppendString(bytes, text);
  return bytes;
}

std::unique_ptr<GgufFile> Open(const GgufBuilder& builder) {
  const std::string path = ::testing::TempDir() + "/text_files_test.gguf";
  EXPECT_TRUE(base::WriteFileAtomic(path, builder.Build()).ok());
  auto file = GgufFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status();
  return std::move(file).value();
}

GgufBuilder SmallTokenizer() {
  GgufBuilder builder;
  std::string types;
  for (const int32_t type : {3, 1, 1, 1}) GgufBuilder::Append(types, type);
  builder.AddString("tokenizer.ggml.model", "gpt2")
      .AddString("tokenizer.ggml.pre", "smollm")
      .AddArray("tokenizer.ggml.tokens", GgufType::kString, 4, Strings({"<end>", "a", "b", "ab"}))
      .AddArray("tokenizer.ggml.token_type", GgufType::kInt32, 4, types)
      .AddArray("tokenizer.ggml.merges", GgufType::kString, 1, Strings({"a b"}))
      .AddUint("tokenizer.ggml.eos_token_id", 0);
  return builder;
}

TEST(TextFilesTest, TokenizerAndTemplateComeFromTheFile) {
  GgufBuilder builder = SmallTokenizer();
  builder.AddString("tokenizer.chat_template", "{{ messages }}{{ eos_token }}");
  std::unique_ptr<GgufFile> file = Open(builder);
  const auto tokenizer = LoadTokenizer(*file);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto chat_template = LoadChatTemplate(*file);
  ASSERT_TRUE(chat_template.ok()) << chat_template.status();
  file.reset();  // Nothing may point into the file any more.

  EXPECT_THAT((*tokenizer)->Encode("aba<end>", true), ElementsAre(3, 1, 0));
  EXPECT_TRUE((*tokenizer)->EndsText(0));
  boost::json::object variables;
  variables["messages"] = "m";
  const auto segments =
      (*chat_template)
          ->Render({.variables = variables, .special_tokens = TemplateTokens(**tokenizer)});
  ASSERT_TRUE(segments.ok()) << segments.status();
  EXPECT_THAT(*segments, ElementsAre(TextSegment{.text = "m"},
                                     TextSegment{.text = "<end>", .from_template = true}));
}

TEST(TextFilesTest, AFileWithoutATemplateHasNone) {
  const auto chat_template = LoadChatTemplate(*Open(SmallTokenizer()));
  ASSERT_TRUE(chat_template.ok()) << chat_template.status();
  EXPECT_EQ(*chat_template, nullptr);
}

TEST(TextFilesTest, WhatIsMissingOrUnknownIsNamed) {
  GgufBuilder builder;
  builder.AddString("tokenizer.ggml.model", "gpt2");
  EXPECT_THAT(std::string(LoadTokenizer(*Open(builder)).status().message()),
              HasSubstr("tokenizer.ggml.tokens"));
  GgufBuilder other;
  other.AddString("tokenizer.ggml.model", "bert")
      .AddArray("tokenizer.ggml.tokens", GgufType::kString, 1, Strings({"a"}));
  EXPECT_EQ(LoadTokenizer(*Open(other)).status().code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace llm
