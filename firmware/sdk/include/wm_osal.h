/* Stand-in of the SDK's header: nothing of it is used. */
