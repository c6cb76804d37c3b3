// SmolLM2's real tokenizer for tests, from testdata: no model file is needed.

#pragma once

#include <memory>

#include "common/llm/tokenizer.h"

namespace llm {

std::unique_ptr<Tokenizer> LoadTestTokenizer();

}  // namespace llm
