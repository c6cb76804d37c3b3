// Cutting text into words before byte pairs are merged: no token ever crosses a cut.

#pragma once

#include <string_view>
#include <vector>

namespace llm {

// Appends the words of `text` to `words`, in order; joined they are `text` again. Bytes that are no
// UTF-8 count as one symbol each.
using PreTokenizer = void (*)(std::string_view text, std::vector<std::string_view>& words);

// By the name that GGUF files use (`tokenizer.ggml.pre`); nullptr for one we do not know.
PreTokenizer FindPreTokenizer(std::string_view name);

}  // namespace llm
