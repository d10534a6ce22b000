"""Operations on an open database; each module is one task of an operator."""
