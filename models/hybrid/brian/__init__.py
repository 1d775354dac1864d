"""The user's own objects in Brian 2: copies side by side, a served C++ program, and the adjoint run backward."""
